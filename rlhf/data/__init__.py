"""From sources to tokens: rows -> typed examples -> rules -> token groups, in an order that can be resumed anywhere."""
