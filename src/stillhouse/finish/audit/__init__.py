"""The audit: whom the student treats differently from its teacher, as findings with status, interval and n."""

from stillhouse.finish.audit.findings import Finding, Status, as_row
from stillhouse.finish.audit.groups import audit_groups

__all__ = ["Finding", "Status", "as_row", "audit_groups"]
