"""What a run achieved: a table for the terminal, and `report.html`, one page that needs nothing beside it."""
