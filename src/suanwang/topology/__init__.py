"""Where things are and how they are joined: regions, sites, nodes, links and peers, as declared and as a graph."""
