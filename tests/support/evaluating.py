"""What tests of evaluations share: two prompts, and options under which they are drawn in a second."""

PROMPTS = ("a castle at night", "a ship by day")
OPTIONS = ("--model", "visunex-tiny", "--ddim_steps", 6, "--seeds", 2, "--device", "cpu")
