"""Configuration of every switch of a fabric: a plan of numbers and addresses, and its text in several languages."""
