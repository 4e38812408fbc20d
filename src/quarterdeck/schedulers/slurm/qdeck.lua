-- Quarterdeck in slurmctld: turns --qpu=NAME[,NAME] into GRES, and holds a job whose QPU takes no work now.
--
-- job_submit.lua loads it with dofile and calls qdeck.submit first; `qdeck slurm install` writes that block. What is
-- known of the QPUs comes from a small file that `qdeck slurm agent` writes anew every few seconds:
--   written TAB seconds since 1970
--   nodes TAB number of nodes that have QPUs
--   partition TAB name                                      where such jobs go that name none; may be missing
--   device TAB name TAB count TAB ready|held TAB sentence
local qdeck = {
  state = "/run/quarterdeck/slurm.state",
  gres = "gres:", -- how this version of Slurm begins a GRES; from 23.11 on gres/, which older ones overlook
  stale_s = 60, -- an older file means that nobody looks: jobs are held until the agent is back
}

local PREFIX = "_SLURM_SPANK_OPTION_quarterdeck_"

local function given(job, name)
  local env = job.spank_job_env
  local i = 0
  while env ~= nil and env[i] ~= nil do -- counts from 0
    local value = string.match(env[i], "^" .. name .. "=(.*)$")
    if value ~= nil and value ~= "" then return value end
    i = i + 1
  end
  return nil
end

local function option(job, name) return given(job, PREFIX .. name) end

-- What the job itself asks for, as the plugin says: its option may be that of an earlier component.
local function asked_qpus(job)
  local qpus = given(job, "QDECK_QPU")
  return qpus ~= "none" and qpus or nil
end

local function refuse(sentence)
  slurm.log_user("quarterdeck: %s", sentence)
  return slurm.ERROR
end

local function remark(job, kind, text)
  local before = (job.admin_comment ~= nil and job.admin_comment ~= "") and (job.admin_comment .. " ") or ""
  job.admin_comment = before .. "[qdeck " .. kind .. ": " .. string.gsub(text, "[%[%]]", "") .. "]"
end

local function read_state()
  local known = { devices = {}, names = {}, written = 0 }
  local file = io.open(qdeck.state, "r")
  if file == nil then return known end
  for line in file:lines() do
    local field = {}
    for text in string.gmatch(line .. "\t", "([^\t]*)\t") do field[#field + 1] = text end
    if field[1] == "written" then
      known.written = tonumber(field[2]) or 0
    elseif field[1] == "nodes" then
      known.nodes = tonumber(field[2])
    elseif field[1] == "partition" then
      known.partition = field[2]
    elseif field[1] == "device" then
      known.devices[field[2]] = { count = tonumber(field[3]) or 1, ready = field[4] == "ready", why = field[5] or "" }
      known.names[#known.names + 1] = field[2]
    end
  end
  file:close()
  return known
end

local function asks_for_gres(job)
  for _, name in ipairs({ "tres_per_job", "tres_per_node", "tres_per_socket", "tres_per_task" }) do
    local text = job[name]
    if text ~= nil and string.find("," .. string.gsub(text, "gres[:/]", ""), ",qpu") then return true end
  end
  return false
end

-- The job's GRES for these QPUs, or nil and why not.
local function gres(qpus, mode, known)
  local parts, seen = {}, {}
  for name in string.gmatch(qpus .. ",", "([^,]*),") do
    if not string.match(name, "^%w[%w._+@-]*$") then return nil, "'" .. name .. "' is no name of a QPU" end
    if seen[name] then return nil, "QPU " .. name .. " is asked for twice" end
    local device = known.devices[name]
    if device == nil and #known.names > 0 then
      return nil, "no QPU '" .. name .. "' here; there are: " .. table.concat(known.names, ", ")
    end
    local count = (mode == "exclusive" and device ~= nil) and device.count or 1
    seen[name] = true
    parts[#parts + 1] = qdeck.gres .. "qpu:" .. name .. ":" .. count
  end
  return table.concat(parts, ",")
end

local function why_not_now(qpus, known)
  if os.time() - known.written > qdeck.stale_s then
    return "the state of the QPUs is not known now (`qdeck slurm agent` does not run); the job starts once it is"
  end
  for name in string.gmatch(qpus .. ",", "([^,]*),") do
    local device = known.devices[name]
    if device ~= nil and not device.ready then return device.why end
  end
  return nil
end

local function submit(job)
  local qpus = asked_qpus(job)
  if qpus == nil then
    if asks_for_gres(job) then return refuse("ask for a QPU with --qpu=NAME, not with --gres") end
    return slurm.SUCCESS
  end
  if asks_for_gres(job) then return refuse("--qpu=NAME is all that is needed; leave the qpu out of --gres") end
  local mode = option(job, "qpu_mode") or "shared"
  if mode ~= "shared" and mode ~= "exclusive" then return refuse("--qpu-mode is shared or exclusive") end
  local class = option(job, "qpu_class")
  if class ~= nil and class ~= "production" and class ~= "test" and class ~= "development" then
    return refuse("--qpu-class is production, test or development")
  end
  local project = option(job, "qpu_project")
  if project ~= nil and string.find(project, "[%s%[%]]") then return refuse("--qpu-project is one word") end
  local known = read_state()
  local wanted, why = gres(qpus, mode, known)
  if wanted == nil then return refuse(why) end
  if known.nodes ~= nil and job.min_nodes ~= nil and job.min_nodes ~= slurm.NO_VAL and job.min_nodes > known.nodes then
    return refuse("Slurm gives a QPU to every node of a job, and " .. known.nodes .. " can have one; for more nodes add "
      .. "a component for the QPU: sbatch -N" .. job.min_nodes .. " ... : -N1 --qpu=" .. qpus .. " job.sh")
  end
  job.tres_per_node = job.tres_per_node ~= nil and (job.tres_per_node .. "," .. wanted) or wanted
  if job.partition == nil and known.partition ~= nil then job.partition = known.partition end
  local asks = {} -- for the agent, which sees no options
  if class ~= nil then asks[#asks + 1] = "class=" .. class end
  if project ~= nil then asks[#asks + 1] = "project=" .. project end
  if mode ~= "shared" then asks[#asks + 1] = "mode=" .. mode end
  if #asks > 0 then remark(job, "asks", table.concat(asks, " ")) end
  local wait = why_not_now(qpus, known)
  if wait ~= nil and job.priority ~= 0 then -- 0: the user holds it
    job.priority = 0
    remark(job, "held", wait)
    slurm.log_user("quarterdeck: the job waits: %s", wait)
  end
  return slurm.SUCCESS
end

-- From slurm_job_submit. slurm.SUCCESS, or slurm.ERROR after a sentence to the user. A defect of ours stops no job
-- that wants no QPU.
function qdeck.submit(job, partitions, uid)
  local ok, rc = pcall(submit, job)
  if ok then return rc end
  slurm.log_error("quarterdeck: %s", tostring(rc))
  if asked_qpus(job) == nil then return slurm.SUCCESS end
  return refuse("job_submit.lua failed; tell the administrator to look into slurmctld's log")
end

-- From slurm_job_modify: a QPU cannot be added to a job, or taken from it, behind Quarterdeck's back. Slurm passes no
-- sentence on to the user there.
function qdeck.modify(job, record, partitions, uid)
  if asks_for_gres(job) then return slurm.ESLURM_ACCESS_DENIED or slurm.ERROR end
  return slurm.SUCCESS
end

return qdeck
