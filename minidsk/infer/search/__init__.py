"""Thinking longer: votes, best of many, forced budgets and tree search, all within a budget and on one account."""
