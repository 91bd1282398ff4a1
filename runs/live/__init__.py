"""What happens, told to whoever watches: browsers by websocket, applications by a stream.

Rows are the truth. A Redis message only says that there is something to read; when none comes, the rows are asked
every few seconds all the same. Nothing is held while nothing happens: no thread, no database connection.

messages -> rows, doorbells -> hub -> following; guards stands beside them.
"""
