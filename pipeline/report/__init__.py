"""`report.html`: what a run did, for a person.

Reads the stages' reports. May import `base`.
"""
