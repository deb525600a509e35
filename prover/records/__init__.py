"""What the store keeps, as plain values: jobs, batches, tenants, keys, quotas, usage, webhooks."""
