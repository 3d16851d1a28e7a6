"""Which clips stand for the deployment, activation ranges, and the actor threshold."""
