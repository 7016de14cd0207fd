"""Learning from reward: rollouts, rewards, GRPO, and the recipe from random weights to a reasoner."""
