"""Proof: what packets can do, worked out on compiled programs before they are sent anywhere."""
