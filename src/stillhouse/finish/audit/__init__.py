"""The audit: whom the student treats differently from its teacher, as findings with status, interval and n."""

from stillhouse.finish.audit.findings import Finding, Status, as_row

__all__ = ["Finding", "Status", "as_row"]
