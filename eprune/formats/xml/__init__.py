"""The XML files of applications, platforms and mappings, in and out; also SDF3's graphs."""
