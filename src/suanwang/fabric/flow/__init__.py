"""The fluid engine: flows with max-min fair rates, whole or collapsed into classes of links alike."""
