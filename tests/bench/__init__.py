"""What things cost, as ratios to a floor that is measured in the same run: a slow machine slows both."""
