"""Inference engines that keep books of their own GPU time: one file for each, and what they share."""
