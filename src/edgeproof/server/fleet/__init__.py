"""Who may work here and what they can do: keys, enrolment, registration, standing, classes of needs."""
