"""The engine: one process, one thread, one epoll loop that presses a target and measures it."""
