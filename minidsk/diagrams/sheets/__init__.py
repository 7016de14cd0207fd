"""One diagram a file, each with its drawing, title, description and caption in `FIGURE`."""
