"""What watches training: console, record, reports. A callback costs nothing when it is not there."""
