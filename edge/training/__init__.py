"""How the model learns: bipartite matching, the set criterion, and the training loop."""
