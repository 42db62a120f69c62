"""Next hops: the shortest by hops, or FARE's by bandwidth."""
