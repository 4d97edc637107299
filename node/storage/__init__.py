"""What a member must not forget: one journal of log, term and vote, over a five-method disk seam."""
