"""fashionreg: which regularizer helps, with evidence."""

__version__ = "0.1.0"

#: The commands that train or use networks, and what each does.
TRAINING_COMMANDS = {
    "fit": "train a network, one replica for each seed, and test it after every epoch",
    "validate": "evaluate a checkpoint on the val and test splits",
    "test": "report a checkpoint: test and train accuracy, per class, with a confusion matrix",
    "predict": "classify images, or the rows of a CSV file, with a checkpoint",
}
