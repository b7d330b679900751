"""Stage 2, fermentation: what does the teacher know about the documents?"""
