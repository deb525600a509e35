"""What several test modules look at: models, inputs, jobs. A test module is imported by none."""
