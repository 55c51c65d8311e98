"""The guarded web: whatever is fetched goes through here, with a budget of time and bytes.

Reads http(s) and the Hub, at public addresses unless told otherwise; writes nothing. May import `base`.
"""
