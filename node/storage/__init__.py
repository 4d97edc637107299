"""What a member must not forget: a journal of log, term and vote, and the newest snapshot, over one disk seam."""
