"""What users see of a spike: this product's data plane beside three others, in turns, on the same servers."""
