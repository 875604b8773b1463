"""From the scores of single pairs to tables, figures and pages."""
