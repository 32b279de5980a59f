"""Tests of the product promises."""
