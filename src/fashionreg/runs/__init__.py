"""What a run leaves behind, and what can be made of it: records, checkpoints, evaluation, predictions, export."""
