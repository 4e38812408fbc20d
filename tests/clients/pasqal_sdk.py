"""Everything else that the unmodified SDK can ask of Pasqal Cloud. Arguments: URL, TOKEN."""

import json

from pasqal_cloud.endpoints import TokenProviderConf
from pasqal_cloud.pasqal_cloud_client import PasqalCloudClient
from pasqal_cloud.utils.constants import BatchStatus, JobStatus
from pasqal_cloud.utils.filters import BatchFilters, CancelJobFilters, JobFilters, PaginationParams, RebatchFilters
from pasqal_connection import ENDPOINTS, URL, client, triangle

LONG = 10_000
seen = {}
sdk = client()
sequence = triangle().to_abstract_repr()
free = triangle(parametrized=True).to_abstract_repr()


def refused(call, *args, **more):
    try:
        call(*args, **more)
    except BaseException as error:  # the SDK's errors are no Exceptions
        return str(error)
    return ""


done = sdk.create_batch(sequence, [{"runs": 10}, {"runs": 20}], tags=["first"], wait=True)
seen["done"] = [done.status, done.open, done.jobs_count, done.tags, [job.result for job in done.ordered_jobs]]
seen["sequence"] = sdk.get_batch(done.id).sequence_builder == sequence
job = sdk.get_job(done.ordered_jobs[0].id, wait=True)
seen["job"] = [job.status, job.batch_id == done.id, job.runs, job.sequence, job.variables, job.errors, job.project_id]
own = sdk.create_batch(None, [{"runs": 5, "serialized_sequence": sequence}], wait=True)
seen["own"] = [own.status, sdk.get_job(own.ordered_jobs[0].id).sequence == sequence]
seen["retagged"] = sdk.set_batch_tags(done.id, ["second", "third"]).tags

page = PaginationParams(limit=1)
listed = sdk.get_batches(BatchFilters(status=BatchStatus.DONE), page)
seen["batches"] = [listed.total, [batch.id == own.id for batch in listed.results]]
seen["tagged"] = [batch.id == done.id for batch in sdk.get_batches(BatchFilters(tag="third")).results]
seen["none"] = sdk.get_batches(BatchFilters(tag="first")).total
seen["jobs"] = sdk.get_jobs(JobFilters(min_runs=10, status=[JobStatus.DONE, JobStatus.ERROR])).total
seen["of_batch"] = [job.runs for job in sdk.get_jobs(JobFilters(batch_id=done.id)).results]

opened = sdk.create_batch(free, [], open=True)
seen["opened"] = [opened.status, opened.open, opened.jobs_count]
opened = sdk.add_jobs(opened.id, [{"runs": LONG, "variables": {"omega": value}} for value in (1.0, 2.0)])
seen["added"] = [opened.jobs_count, sorted(opened.jobs_count_per_status)]
first, second = opened.ordered_jobs
seen["cancelled"] = [sdk.cancel_job(first.id).status, sdk.get_job_status(second.id).value]
bulk = sdk.cancel_jobs(opened.id, CancelJobFilters(min_runs=LONG))
seen["cancelled_jobs"] = [[job.id == second.id for job in bulk.jobs], bulk.errors, bulk.jobs[0].variables]
seen["not_closed"] = sdk.get_batch(opened.id).open
closed = sdk.close_batch(opened.id)
seen["closed"] = [closed.status, closed.open]
seen["late"] = refused(sdk.add_jobs, opened.id, [{"runs": 1, "variables": {"omega": 1.0}}])

waiting = [sdk.create_batch(sequence, [{"runs": LONG}]) for _ in range(2)]
cancelled = sdk.cancel_batches([batch.id for batch in waiting] + ["5557ef21-0000-4000-8000-000000000000"])
seen["cancelled_batches"] = [[batch.status for batch in cancelled.batches], list(cancelled.errors.values())]
again = sdk.rebatch(done.id, RebatchFilters(max_runs=10))
seen["again"] = [again.parent_id == done.id, again.jobs_count]
seen["no_link"] = waiting[0].ordered_jobs[0].full_result

seen["project"] = sdk.get_all_projects()[0].id
seen["unknown_type"] = refused(sdk.create_batch, sequence, [{"runs": 1}], device_type="FRESNEL_CAN1")
seen["bad_program"] = refused(sdk.create_batch, "{}", [{"runs": 1}])
seen["no_variable"] = refused(sdk.create_batch, free, [{"runs": 1}])
seen["too_many"] = refused(sdk.create_batch, sequence, [{"runs": 20_000}])
seen["webhook"] = refused(client(webhook="http://here.invalid").create_batch, sequence, [{"runs": 1}])
seen["password"] = refused(
    PasqalCloudClient, username="u", password="p", project_id="p", endpoints=ENDPOINTS,
    auth_config=TokenProviderConf(f"{URL}/account/oauth/token", "client", "audience", "realm", "password"),
)  # fmt: skip
print(json.dumps(seen))
