"""Real debuggers, driven as a person drives them: pdb at a terminal, debugpy by the protocol that editors speak."""
