"""What every package stands on: named errors, atomic files and the console. Imports nothing of ours."""
