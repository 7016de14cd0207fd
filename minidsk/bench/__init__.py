"""How fast the model generates and learns, beside what a user would take instead, on the reader's own machine."""
