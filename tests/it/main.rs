//! Every integration test in one binary. One file a topic.
