"""What a model predicts, and how accurate that is: predictions, rows of counts, intervals, checks."""
