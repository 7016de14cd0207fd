"""Learning from text: pretraining, supervised fine-tuning, optimizers, run folders."""
