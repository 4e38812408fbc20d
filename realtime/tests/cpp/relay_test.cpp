#include "check.h"
#include "relay.h"
int main() { }
