#!/usr/bin/env escript
%% Plays scenarios on Erlang/OTP's own `supervisor` and writes what happened.
%%
%%   escript player.escript SCENARIOS TRACES
%%
%% Both files hold one JSON document a line; scenario.ts describes them. Nothing here waits by sleeping: a step is over
%% when no supervisor has anything left to do.
%%
%% Processes: the driver (this one, the parent of the root supervisor), the world (a registry, and the tracer that sees
%% every exit), the supervisors, and the children. Events carry `unique_integer([monotonic])`, taken where they happen,
%% so that their order is the real one whatever the order in which the world hears of them.
-mode(compile).
-export([init/1, start_worker/3, start_supervisor/3, gate/2]).

main([In, Out]) ->
    ok = logger:set_primary_config(level, none),
    {ok, Text} = file:read_file(In),
    Lines = [L || L <- binary:split(Text, <<"\n">>, [global]), L =/= <<>>],
    {ok, File} = file:open(Out, [write, raw, delayed_write]),
    lists:foreach(fun(L) -> ok = file:write(File, [encode(play_alone(decode(L))), $\n]) end, Lines),
    ok = file:close(File).

%% A driver of its own for each scenario, so that no message of one reaches the next.
play_alone(Scenario) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({trace, play(Scenario)}) end),
    receive
        {'DOWN', Ref, process, Pid, {trace, Trace}} -> Trace;
        {'DOWN', Ref, process, Pid, Fault} -> error({maps:get(<<"name">>, Scenario), Fault})
    end.

play(#{<<"name">> := Name, <<"supervisor">> := Root, <<"steps">> := Steps}) ->
    process_flag(trap_exit, true),
    World = spawn_link(fun() -> world(#{pids => #{}, counts => #{}, names => #{}, supervisors => [], events => []}) end),
    Started = start_supervisor(World, <<"root">>, #{<<"supervisor">> => Root}),
    First = observe(World, [result(World, Started)]),
    Rest = [step(World, Step) || Step <- Steps],
    unlink(World),
    exit(World, kill),
    #{name => Name, steps => [First | Rest]}.

%%% Steps

step(World, #{<<"at">> := At, <<"ops">> := Ops}) ->
    case call(World, {live, At}) of
        none -> #{skipped => true};
        Supervisor ->
            Release = hold(Supervisor),
            Pending = [perform(World, Supervisor, At, Op) || Op <- Ops],
            Release(),
            observe(World, [await(World, P) || P <- Pending])
    end.

%% Keeps a supervisor busy with the start of a child that leaves no trace, until the function it gives is called.
hold(Supervisor) ->
    Ref = make_ref(),
    Spec = #{id => gate, start => {?MODULE, gate, [self(), Ref]}, restart => temporary},
    spawn(fun() -> catch supervisor:start_child(Supervisor, Spec) end),
    receive {held, Ref} -> fun() -> Supervisor ! {release, Ref} end end.

gate(Driver, Ref) ->
    Driver ! {held, Ref},
    receive {release, Ref} -> ignore end.

perform(World, Supervisor, At, #{<<"op">> := <<"exit">>, <<"id">> := Id, <<"reason">> := Reason}) ->
    case call(World, {live, join(At, Id)}) of
        none -> {done, null};
        Pid ->
            end_process(Pid, Reason),
            wait_for_exit(Supervisor, Pid),
            {done, ok}
    end;
perform(_World, Supervisor, _At, #{<<"op">> := <<"stop">>}) ->
    queued(Supervisor, fun() -> exit(Supervisor, shutdown) end),
    {done, ok};
perform(World, Supervisor, At, Op) ->
    Driver = self(),
    Ref = make_ref(),
    queued(Supervisor, fun() ->
        spawn(fun() ->
            Driver ! {Ref, try {answer, request(World, Supervisor, At, Op)} catch exit:_ -> gone end}
        end)
    end),
    {pending, Ref}.

request(World, Supervisor, At, #{<<"op">> := <<"start_child">>, <<"child">> := Child}) ->
    supervisor:start_child(Supervisor, child_spec(World, At, Child));
request(_, Supervisor, _, #{<<"op">> := <<"restart_child">>, <<"id">> := Id}) -> supervisor:restart_child(Supervisor, Id);
request(_, Supervisor, _, #{<<"op">> := <<"terminate_child">>, <<"id">> := Id}) -> supervisor:terminate_child(Supervisor, Id);
request(_, Supervisor, _, #{<<"op">> := <<"delete_child">>, <<"id">> := Id}) -> supervisor:delete_child(Supervisor, Id);
request(_, Supervisor, _, #{<<"op">> := <<"which_children">>}) -> {children, supervisor:which_children(Supervisor)};
request(_, Supervisor, _, #{<<"op">> := <<"count_children">>}) -> {counts, supervisor:count_children(Supervisor)}.

await(_World, {done, Result}) -> Result;
await(World, {pending, Ref}) ->
    receive
        {Ref, gone} -> gone;
        {Ref, {answer, Answer}} -> result(World, Answer)
    end.

%% Does something that puts one message into the queue of a busy supervisor, and waits until it is there.
queued(Supervisor, Fun) ->
    Before = queue_length(Supervisor),
    Fun(),
    wait_until(fun() -> queue_length(Supervisor) > Before end).

queue_length(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> Length;
        undefined -> infinity
    end.

%% What happened since the last time, once nothing goes on any more.
observe(World, Results) ->
    quiesce(World),
    Supervisors = call(World, live_supervisors),
    Tree = [[Path, result(World, {children, supervisor:which_children(Pid)}),
             result(World, {counts, supervisor:count_children(Pid)})] || {Path, Pid} <- Supervisors],
    #{events => call(World, take_events), results => Results, tree => Tree}.

%% Quiet is: each supervisor has answered a call, and before and after that all its links live (so that no exit is on
%% its way), its queue is empty, and no event has come in between.
quiesce(World) ->
    Before = call(World, event_count),
    Supervisors = [Pid || {_, Pid} <- call(World, live_supervisors)],
    Quiet = lists:all(fun quiet/1, Supervisors),
    [catch supervisor:count_children(Pid) || Pid <- Supervisors],
    case Quiet andalso lists:all(fun quiet/1, Supervisors) andalso call(World, event_count) =:= Before of
        true -> ok;
        false -> erlang:yield(), quiesce(World)
    end.

quiet(Pid) ->
    case process_info(Pid, [links, message_queue_len]) of
        [{links, Links}, {message_queue_len, 0}] -> lists:all(fun is_process_alive/1, Links);
        _ -> false
    end.

wait_until(Condition) ->
    case Condition() of
        true -> ok;
        false -> erlang:yield(), wait_until(Condition)
    end.

%%% Supervisors and children

child_spec(World, At, #{<<"id">> := Id, <<"restart">> := Restart, <<"shutdown">> := Shutdown, <<"type">> := Type} = Child) ->
    Start = case Type of <<"worker">> -> start_worker; <<"supervisor">> -> start_supervisor end,
    #{id => Id,
      start => {?MODULE, Start, [World, join(At, Id), Child]},
      restart => binary_to_atom(Restart),
      shutdown => if is_integer(Shutdown) -> Shutdown; true -> binary_to_atom(Shutdown) end,
      type => binary_to_atom(Type)}.

start_supervisor(World, Path, #{<<"supervisor">> := Supervisor} = Child) ->
    case started(World, Path, Child) of
        {N, <<"ok">>} -> supervisor:start_link(?MODULE, {World, Path, N, Supervisor});
        {_, <<"ignore">>} -> ignore;
        {_, <<"fail">>} -> {error, failed}
    end.

init({World, Path, N, #{<<"strategy">> := Strategy, <<"intensity">> := Intensity, <<"children">> := Children}}) ->
    ok = call(World, {register, Path, N, self(), supervisor}),
    Flags = #{strategy => binary_to_atom(Strategy), intensity => Intensity, period => 3600},
    {ok, {Flags, [child_spec(World, Path, Child) || Child <- Children]}}.

%% Runs in the supervisor, as every start function does.
start_worker(World, Path, Child) ->
    case started(World, Path, Child) of
        {N, <<"ok">>} -> spawn_worker(World, Path, N, Child);
        {_, <<"ignore">>} -> ignore;
        {_, <<"fail">>} -> {error, failed};
        {_, <<"raise">>} -> exit(raised);
        {N, #{<<"dies">> := Reason}} ->
            {ok, Pid} = spawn_worker(World, Path, N, Child),
            end_own_child(Pid, Reason),
            {ok, Pid};
        {N, #{<<"ends">> := [Id, Reason]}} ->
            case call(World, {live, sibling(Path, Id)}) of
                none -> ok;
                Pid -> end_own_child(Pid, Reason)
            end,
            spawn_worker(World, Path, N, Child)
    end.

%% The number of this start and what the scenario plans for it.
started(World, Path, Child) ->
    N = call(World, {count, Path}),
    Plan = maps:get(<<"starts">>, Child, []),
    Outcome = if N =< length(Plan) -> lists:nth(N, Plan); true -> <<"ok">> end,
    log(World, [start, Path, N, Outcome]),
    {N, Outcome}.

%% Ends a child from within its supervisor; the exit goes to the end of the queue, where it would have arrived.
end_own_child(Pid, Reason) ->
    end_process(Pid, Reason),
    receive {'EXIT', Pid, _} = Exit -> self() ! Exit end.

spawn_worker(World, Path, N, Child) ->
    Supervisor = self(),
    Pid = spawn_link(fun() ->
        process_flag(trap_exit, true),
        Supervisor ! {up, self()},
        worker(World, Supervisor, Path, N, maps:get(<<"on_shutdown">>, Child, <<"exit">>))
    end),
    receive {up, Pid} -> ok end,
    ok = call(World, {register, Path, N, Pid, worker}),
    {ok, Pid}.

worker(World, Supervisor, Path, N, OnShutdown) ->
    receive
        {'end', Reason} -> exit(Reason);
        {'EXIT', Supervisor, _} when OnShutdown =:= <<"ignore">> -> worker(World, Supervisor, Path, N, OnShutdown);
        {'EXIT', Supervisor, Reason} ->
            log(World, [stop, Path, N]),
            case OnShutdown of
                <<"exit">> -> exit(Reason);
                #{<<"exit">> := Other} -> exit(reason(Other));
                #{<<"ends">> := [Id, Other]} ->
                    case call(World, {live, sibling(Path, Id)}) of
                        none -> ok;
                        Pid -> end_process(Pid, Other), wait_for_exit(Supervisor, Pid)
                    end,
                    exit(Reason)
            end
    end.

end_process(Pid, <<"kill">>) -> exit(Pid, kill);
end_process(Pid, Reason) -> Pid ! {'end', reason(Reason)}.

wait_for_exit(Supervisor, Pid) ->
    wait_until(fun() ->
        {messages, Messages} = process_info(Supervisor, messages),
        lists:any(fun({'EXIT', P, _}) -> P =:= Pid; (_) -> false end, Messages)
    end).

%%% The world

call(World, Request) ->
    Ref = monitor(process, World),
    World ! {call, self(), Ref, Request},
    receive
        {Ref, Answer} -> demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, World, Reason} -> exit(Reason)
    end.

log(World, Event) -> World ! {log, erlang:unique_integer([monotonic]), Event}.

world(State) ->
    receive
        {call, From, Ref, Request} ->
            {Answer, Next} = answer(Request, hear(State)),
            From ! {Ref, Answer},
            world(Next)
    end.

answer({count, Path}, #{counts := Counts} = State) ->
    N = maps:get(Path, Counts, 0) + 1,
    {N, State#{counts := Counts#{Path => N}}};
answer({register, Path, N, Pid, Type}, #{pids := Pids, names := Names, supervisors := Supervisors} = State) ->
    1 = erlang:trace(Pid, true, [procs, strict_monotonic_timestamp]),
    {ok, State#{pids := Pids#{Path => Pid},
                names := Names#{Pid => {Path, N}},
                supervisors := case Type of supervisor -> [Pid | Supervisors]; worker -> Supervisors end}};
answer({live, Path}, #{pids := Pids} = State) ->
    Pid = maps:get(Path, Pids, none),
    {case is_pid(Pid) andalso is_process_alive(Pid) of true -> Pid; false -> none end, State};
answer({name, Pid}, #{names := Names} = State) -> {maps:get(Pid, Names), State};
answer(live_supervisors, #{supervisors := Supervisors, names := Names} = State) ->
    {lists:sort([{element(1, maps:get(P, Names)), P} || P <- Supervisors, is_process_alive(P)]), State};
answer(event_count, #{events := Events} = State) -> {length(Events), State};
answer(take_events, #{events := Events} = State) ->
    {[Event || {_, Event} <- lists:sort(Events)], State#{events := []}}.

%% Takes in all events that have happened, those included that are on their way.
hear(State) ->
    Ref = erlang:trace_delivered(all),
    receive {trace_delivered, all, Ref} -> ok end,
    hear_all(State).

hear_all(#{events := Events, names := Names} = State) ->
    receive
        {log, At, Event} -> hear_all(State#{events := [{At, Event} | Events]});
        {trace_ts, Pid, exit, Reason, {_, At}} ->
            {Path, N} = maps:get(Pid, Names),
            hear_all(State#{events := [{At, [exit, Path, N, reason_json(Reason)]} | Events]});
        Other when element(1, Other) =:= trace_ts -> hear_all(State)
    after 0 -> State
    end.

%%% Terms and JSON

join(At, Id) -> <<At/binary, "/", Id/binary>>.
sibling(Path, Id) -> join(filename:dirname(Path), Id).

reason(<<"normal">>) -> normal;
reason(<<"shutdown">>) -> shutdown;
reason(#{<<"shutdown">> := Detail}) -> {shutdown, Detail};
reason(#{<<"error">> := Error}) -> {error, Error}.

reason_json({shutdown, {failed_to_start_child, Id, Reason}}) ->
    #{shutdown => [failed_to_start_child, Id, start_error(Reason)]};
reason_json({shutdown, Detail}) -> #{shutdown => Detail};
reason_json({error, Error}) -> #{error => Error};
reason_json(Reason) when is_atom(Reason) -> Reason.

start_error({'EXIT', Reason}) -> Reason;
start_error(Reason) -> reason_json(Reason).

result(_, ok) -> ok;
result(World, {ok, Child}) -> [ok, label(World, Child)];
result(World, {error, {already_started, Pid}}) -> [error, already_started, label(World, Pid)];
result(_, {error, {Reason, Child}}) when element(1, Child) =:= child -> [error, failed, start_error(Reason)];
result(_, {error, Code}) when Code =:= already_present; Code =:= not_found; Code =:= running; Code =:= restarting ->
    [error, Code];
result(_, {error, Reason}) -> [error, failed, start_error(Reason)];
result(World, {children, Children}) -> [[Id, label(World, Child), Type] || {Id, Child, Type, _} <- Children];
result(_, {counts, Counts}) -> [proplists:get_value(K, Counts) || K <- [specs, active, supervisors, workers]].

label(_, undefined) -> null;
label(_, restarting) -> restarting;
label(World, Pid) ->
    {Path, N} = call(World, {name, Pid}),
    <<Path/binary, "#", (integer_to_binary(N))/binary>>.

encode(Map) when is_map(Map) ->
    [${, lists:join($,, [[encode(K), $:, encode(V)] || {K, V} <- lists:sort(maps:to_list(Map))]), $}];
encode(List) when is_list(List) -> [$[, lists:join($,, [encode(V) || V <- List]), $]];
encode(Number) when is_integer(Number) -> integer_to_binary(Number);
encode(Word) when Word =:= true; Word =:= false; Word =:= null -> atom_to_binary(Word);
encode(Atom) when is_atom(Atom) -> encode(atom_to_binary(Atom));
encode(Text) when is_binary(Text) -> [$", [escape(C) || <<C>> <= Text], $"].

escape($") -> "\\\"";
escape($\\) -> "\\\\";
escape(C) -> C.

%% As much of JSON as scenarios use: no escapes but \" and \\, whole numbers.
decode(Text) ->
    {Value, Rest} = value(skip(Text)),
    <<>> = skip(Rest),
    Value.

value(<<"{", Rest/binary>>) -> members(skip(Rest), #{});
value(<<"[", Rest/binary>>) -> elements(skip(Rest), []);
value(<<"\"", Rest/binary>>) -> text(Rest, <<>>);
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<"null", Rest/binary>>) -> {null, Rest};
value(Rest) ->
    {match, [{0, Length}]} = re:run(Rest, "^-?[0-9]+"),
    <<Number:Length/binary, More/binary>> = Rest,
    {binary_to_integer(Number), More}.

members(<<"}", Rest/binary>>, Map) -> {Map, Rest};
members(<<",", Rest/binary>>, Map) -> members(skip(Rest), Map);
members(<<"\"", Rest/binary>>, Map) ->
    {Key, AfterKey} = text(Rest, <<>>),
    <<":", AfterColon/binary>> = skip(AfterKey),
    {Value, More} = value(skip(AfterColon)),
    members(skip(More), Map#{Key => Value}).

elements(<<"]", Rest/binary>>, List) -> {lists:reverse(List), Rest};
elements(<<",", Rest/binary>>, List) -> elements(skip(Rest), List);
elements(Rest, List) ->
    {Value, More} = value(Rest),
    elements(skip(More), [Value | List]).

text(<<"\"", Rest/binary>>, Text) -> {Text, Rest};
text(<<"\\", C, Rest/binary>>, Text) -> text(Rest, <<Text/binary, C>>);
text(<<C, Rest/binary>>, Text) -> text(Rest, <<Text/binary, C>>).

skip(<<C, Rest/binary>>) when C =:= $\s; C =:= $\n; C =:= $\t; C =:= $\r -> skip(Rest);
skip(Text) -> Text.
