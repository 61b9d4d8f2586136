"""From a recipe to stored rows: read, resolve, plan, check on one input, compute, record."""
