/* Quarterdeck's SPANK plugin: --qpu= for sbatch, srun and salloc, and a job's QPU in its environment.
 *
 * plugstack.conf:  required /usr/lib/quarterdeck/qdeck_spank.so helper=/usr/lib/quarterdeck/slurm-hook timeout=20
 *
 * All knowledge is in the helper. It is called
 *   helper check QPUS CLASS PROJECT MODE     before a submission, as the user: may this be asked for?
 *   helper access JOB UID HET_JOB HET_SIZE   in every step on its node, as root: prints NAME=VALUE lines
 *   helper usage JOB UID ARRAY TASK          at the end of a script, as root: writes down what was used
 * and ends with 0, or with another status after a line "error: SENTENCE". "note: SENTENCE" is passed on to the user.
 *
 * A failure in a step is remembered and told in task_init, which fails the task alone: returned earlier, it would make
 * slurmd drain the node. Compile: cc -O2 -Wall -Wextra -shared -fPIC -o qdeck_spank.so qdeck_spank.c
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <slurm/slurm.h>
#include <slurm/spank.h>

SPANK_PLUGIN(quarterdeck, 1)

enum { QPU, CLASS, PROJECT, MODE, OPTIONS };

static char asked[OPTIONS][256], before[256];
static int calls, inherited;
static char helper[512], failure[512];
static int timeout_s = 20;

static int on_option(int option, const char *text, int remote)
{
    (void)remote;
    if (!text || !*text || strlen(text) >= sizeof asked[0] || strpbrk(text, " \t\n\r\"'\\=")) {
        slurm_error("quarterdeck: this is no value for the option: %.100s", text ? text : "");
        return -1;
    }
    if (option == QPU) {
        if (!calls++)
            inherited = getenv("_SLURM_SPANK_OPTION_quarterdeck_qpu") != NULL;
        snprintf(before, sizeof before, "%s", asked[QPU]);
    }
    snprintf(asked[option], sizeof asked[option], "%s", text);
    return 0;
}

static struct spank_option options[] = {
    {"qpu", "NAME[,NAME]", "quantum processors that the job uses; `qdeck devices` lists them", 1, QPU, on_option},
    {"qpu-class", "CLASS", "production, test or development; otherwise what the partition or QOS gives", 1, CLASS,
     on_option},
    {"qpu-project", "PROJECT", "who pays for the quantum processor; otherwise what the account gives", 1, PROJECT,
     on_option},
    {"qpu-mode", "MODE", "shared (the default), or exclusive: no other job uses it meanwhile", 1, MODE, on_option},
    SPANK_OPTIONS_TABLE_END};

static void read_arguments(int count, char **arguments)
{
    for (int i = 0; i < count; i++) {
        if (!strncmp(arguments[i], "helper=", 7))
            snprintf(helper, sizeof helper, "%s", arguments[i] + 7);
        else if (!strncmp(arguments[i], "timeout=", 8) && atoi(arguments[i] + 8) > 0)
            timeout_s = atoi(arguments[i] + 8);
    }
}

static void take_line(spank_t spank, char *line)
{
    char *equals;
    if (!strncmp(line, "error: ", 7))
        snprintf(failure, sizeof failure, "%s", line + 7);
    else if (!strncmp(line, "note: ", 6))
        slurm_info("quarterdeck: %s", line + 6);
    else if (spank && (equals = strchr(line, '=')) && equals != line) {
        *equals = 0;
        spank_setenv(spank, line, equals + 1, 1);
    }
}

static long left_ms(const struct timespec *end)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000;
}

/* Read the helper's answer until it closes its output. 0, or -1 when the time is over. */
static int read_answer(spank_t spank, int from, const struct timespec *end)
{
    char line[8192];
    size_t used = 0;
    for (;;) {
        struct pollfd one = {.fd = from, .events = POLLIN};
        long wait_ms = left_ms(end);
        int ready = wait_ms <= 0 ? 0 : poll(&one, 1, (int)wait_ms);
        if (ready == 0)
            return -1;
        if (ready < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        ssize_t got = read(from, line + used, sizeof line - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        used += (size_t)got;
        line[used] = 0;
        char *start = line, *newline;
        while ((newline = strchr(start, '\n'))) {
            *newline = 0;
            take_line(spank, start);
            start = newline + 1;
        }
        used -= (size_t)(start - line);
        memmove(line, start, used);
        if (used == sizeof line - 1)
            return -1;
    }
}

/* Run the helper. 0, or its status, or -1 if it could not be run or did not end in time. `failure` tells why. */
static int call(spank_t spank, char *const arguments[], char *const environment[])
{
    int ends[2], status = 0;
    struct timespec end;
    snprintf(failure, sizeof failure, "%s", "the helper of Quarterdeck's Slurm plugin could not be run; tell the administrator");
    if (!helper[0] || pipe(ends))
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_s;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        setpgid(0, 0);
        execve(helper, arguments, environment);
        _exit(127);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    int late = read_answer(spank, ends[0], &end);
    close(ends[0]);
    if (late) {
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL);
        snprintf(failure, sizeof failure, "Quarterdeck did not answer within %d s; try again later", timeout_s);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (late)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Before a submission, in sbatch, salloc and srun: what could never run is refused here, with the daemon's sentence. */
static int check(void)
{
    extern char **environ;
    char *arguments[] = {helper, "check", asked[QPU], asked[CLASS], asked[PROJECT], asked[MODE], NULL};
    if (call(NULL, arguments, environ) == 1) { /* any other status: nobody could tell; the job's start decides */
        slurm_error("quarterdeck: %s", failure);
        return -1;
    }
    return 0;
}

/* Once for each component of a heterogeneous job. Slurm (22.05) keeps an option in its own environment and gives it
 * once more, last, to every later component, and to what is submitted from within a job. What was asked for itself is
 * then the value before, if there is one. It goes to job_submit.lua and slurmctld's hooks as QDECK_QPU. */
static int submit(spank_t spank)
{
    if (inherited)
        snprintf(asked[QPU], sizeof asked[QPU], "%s", calls > 1 ? before : "");
    int refused = asked[QPU][0] ? check() : 0;
    spank_job_control_setenv(spank, "QDECK_QPU", asked[QPU][0] ? asked[QPU] : "none", 1);
    calls = inherited = 0;
    asked[QPU][0] = 0;
    return refused;
}

/* In every step, as root: the session's variables. */
static void access_qpu(spank_t spank)
{
    uint32_t job = 0, step = 0;
    uid_t uid = (uid_t)-1;
    char texts[2][16], het_job[16] = "", het_size[16] = "";
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    spank_get_item(spank, S_JOB_ID, &job);
    spank_get_item(spank, S_JOB_STEPID, &step);
    spank_get_item(spank, S_JOB_UID, &uid);
    if (spank_getenv(spank, "SLURM_JOB_ID_HET_GROUP_0", het_job, sizeof het_job) != ESPANK_SUCCESS)
        het_job[0] = 0; /* SLURM_HET_JOB_ID is in hooks only */
    spank_getenv(spank, "SLURM_HET_SIZE", het_size, sizeof het_size);
    if (step == SLURM_EXTERN_CONT || (!asked[QPU][0] && !het_size[0]))
        return;
    snprintf(texts[0], sizeof texts[0], "%u", job);
    snprintf(texts[1], sizeof texts[1], "%u", (unsigned)uid);
    char *arguments[] = {helper, "access", texts[0], texts[1], het_job, het_size, NULL};
    int status = call(spank, arguments, environment);
    if (!status || !asked[QPU][0]) /* another component of the heterogeneous job asked for it, or nobody */
        failure[0] = 0;
}

int slurm_spank_init(spank_t spank, int count, char **arguments)
{
    read_arguments(count, arguments);
    for (int i = 0; i < OPTIONS; i++) /* a table named spank_options would be seen by srun alone */
        spank_option_register(spank, &options[i]);
    return 0;
}

int slurm_spank_init_post_opt(spank_t spank, int count, char **arguments)
{
    (void)count, (void)arguments;
    switch (spank_context()) {
    case S_CTX_LOCAL:
        if (getenv("SLURM_JOB_ID")) /* a step of a job that was checked */
            return 0;
        return submit(spank);
    case S_CTX_ALLOCATOR:
        return submit(spank);
    case S_CTX_REMOTE:
        access_qpu(spank);
        return 0;
    default:
        return 0;
    }
}

int slurm_spank_task_init(spank_t spank, int count, char **arguments)
{
    (void)spank, (void)count, (void)arguments;
    if (!failure[0])
        return 0;
    slurm_error("quarterdeck: %s", failure);
    return -1;
}

/* The last task of a batch script or an interactive step has ended, and its job has not: the last moment at which Slurm
 * takes what it used. slurm_spank_exit would be too late for srun, whose job is over by then. */
int slurm_spank_task_exit(spank_t spank, int count, char **arguments)
{
    static uint32_t ended;
    uint32_t job = 0, step = 0, node = 0, array = 0, task = 0, tasks = 1;
    uid_t uid = (uid_t)-1;
    char texts[4][16], kind[16] = "";
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    (void)count, (void)arguments;
    spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &tasks);
    if (!asked[QPU][0] || failure[0] || ++ended != tasks)
        return 0;
    spank_get_item(spank, S_JOB_ID, &job);
    spank_get_item(spank, S_JOB_STEPID, &step);
    spank_get_item(spank, S_JOB_UID, &uid);
    spank_get_item(spank, S_JOB_NODEID, &node);
    spank_get_item(spank, S_JOB_ARRAY_ID, &array);
    spank_get_item(spank, S_JOB_ARRAY_TASK_ID, &task);
    spank_getenv(spank, "ENVIRONMENT", kind, sizeof kind); /* sbatch sets it: the script's end tells for all its steps */
    if (node || step == SLURM_EXTERN_CONT || (step != SLURM_BATCH_SCRIPT && !strcmp(kind, "BATCH")))
        return 0;
    snprintf(texts[0], sizeof texts[0], "%u", job);
    snprintf(texts[1], sizeof texts[1], "%u", (unsigned)uid);
    snprintf(texts[2], sizeof texts[2], "%u", task < NO_VAL ? array : 0); /* 0: not of an array */
    snprintf(texts[3], sizeof texts[3], "%u", task);
    char *words[] = {helper, "usage", texts[0], texts[1], texts[2], texts[3], NULL};
    call(spank, words, environment);
    return 0;
}
