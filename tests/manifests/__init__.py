"""What is published beside the code: bundle, registry entry, container, ready configurations. Equal to the code, by test."""
