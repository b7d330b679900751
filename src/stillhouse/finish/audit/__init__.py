"""The audit: whom does the student treat otherwise than its teacher did, and what did it take over from it?"""
