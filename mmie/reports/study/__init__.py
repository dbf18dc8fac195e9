"""Study reports: low-resource, cross-task and cross-domain."""
