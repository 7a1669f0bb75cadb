"""Files in and out: XML with its schemas, models, findings as text, JSON, SARIF and JUnit."""
