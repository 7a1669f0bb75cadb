"""Files in and out: XML with its schemas, .tflite models, findings as text, JSON, SARIF and JUnit."""
