/* The program's door: finds the verb. Verbs live in cmd/, one file each. */
#include "cmd/cmd.h"

int main(int argc, char **argv) {
    return cmd_main(argc, argv);
}
