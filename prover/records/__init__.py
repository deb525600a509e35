"""The store's records as values: jobs, batches, tenants, keys, quotas, usage, webhooks."""
