"""Training of language models: lessons packed into rows, the loss at their learned tokens, and the run around it.

trained = train_language(model, lessons=lessons, held=held, signals=Stored.open(folder), loss=TokenLoss(), settings=…)
"""
